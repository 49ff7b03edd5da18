package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/apns"
	"github.com/carillonhq/carillon/channels/email"
	"github.com/carillonhq/carillon/channels/fcm"
	"github.com/carillonhq/carillon/channels/webhook"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates/preview"
)

// courier sends the preview's tests straight through the adapters: no queue,
// no caps, no record.
type courier struct {
	adapters map[notice.Channel]closableAdapter
	fixed    map[string]notice.Address // by destination; none: the address is typed
}

// newCourier opens the adapters of the configured channels that a test can go
// to.
func newCourier(c config.Channels, fixed map[string]notice.Address) (*courier, error) {
	out := &courier{adapters: map[notice.Channel]closableAdapter{}, fixed: fixed}
	open := func(on bool, ch notice.Channel, make func() (closableAdapter, error)) error {
		if !on {
			return nil
		}
		adapter, err := make()
		if err != nil {
			return fmt.Errorf("channels.%w", err)
		}
		out.adapters[ch] = adapter
		return nil
	}
	err := errors.Join(
		open(c.Email != nil, notice.ChannelEmail, func() (closableAdapter, error) { return email.New(*c.Email) }),
		open(c.APNs != nil, notice.ChannelAPNs, func() (closableAdapter, error) { return apns.New(*c.APNs) }),
		open(c.FCM != nil, notice.ChannelFCM, func() (closableAdapter, error) { return fcm.New(*c.FCM) }),
		open(c.Webhook != nil, notice.ChannelWebhook, func() (closableAdapter, error) {
			return webhook.New(*c.Webhook, webhook.WithVersion(release()))
		}))
	if err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

func (c *courier) close() {
	for _, a := range c.adapters {
		_ = a.Close() // connections that fail to close are gone all the same
	}
}

// destinations are what the preview offers, in the order of its channels. The
// id of each is the channel's name.
func (c *courier) destinations() (list []preview.Destination) {
	for _, d := range []preview.Destination{
		{ID: string(notice.ChannelEmail), Channel: notice.MediumEmail, Label: "Email address", Example: "ada@example.com"},
		{ID: string(notice.ChannelAPNs), Channel: notice.MediumPush, Label: "iPhone's device token", Example: "64 hexadecimal digits"},
		{ID: string(notice.ChannelFCM), Channel: notice.MediumPush, Label: "Android's registration token", Example: "what FirebaseMessaging.getToken gave"},
		{ID: string(notice.ChannelWebhook), Channel: notice.MediumWebhook, Label: "Webhook URL", Example: "https://hooks.example.com/test"},
	} {
		if c.adapters[notice.Channel(d.ID)] == nil {
			continue
		}
		if _, fixed := c.fixed[d.ID]; fixed {
			d.Label, d.Example = sandboxLabel(notice.Channel(d.ID)), ""
		} else {
			d.Ask = true
		}
		list = append(list, d)
	}
	return list
}

func sandboxLabel(ch notice.Channel) string {
	switch ch {
	case notice.ChannelEmail:
		return "The sandbox's mailbox"
	case notice.ChannelAPNs:
		return "The sandbox's iPhone"
	case notice.ChannelFCM:
		return "The sandbox's Android phone"
	}
	return "The sandbox's webhook"
}

// sending is what the preview is given.
func (c *courier) sending(where, inbox string) *preview.Sending {
	return &preview.Sending{Where: where, Inbox: inbox, Destinations: c.destinations(), Send: c.send}
}

// send makes one attempt.
func (c *courier) send(ctx context.Context, t preview.Test) (string, error) {
	ch := notice.Channel(t.Destination)
	to, fixed := c.fixed[t.Destination]
	if !fixed {
		to = notice.Address{To: t.To}
	}
	if to.Channel = ch; ch == notice.ChannelWebhook && to.Secret == "" {
		to.Secret = exampleSecret
	}
	r := c.adapters[ch].Send(ctx, message(t.Specimen, to))
	if r.Verdict != channels.Sent {
		return "", refusal(r)
	}
	return strings.TrimSpace("Sent: the provider took it. " + r.ProviderID), nil
}

// refusal says what an adapter's result means for somebody who tries.
func refusal(r channels.Result) error {
	words := "not sent: " + r.Verdict.String()
	if r.Code != "" {
		words += " (" + r.Code + ")"
	}
	if r.Err != nil {
		return fmt.Errorf("%s: %w", words, r.Err)
	}
	return errors.New(words)
}
