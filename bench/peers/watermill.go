package main

import (
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// watermillPeer is github.com/ThreeDotsLabs/watermill-redisstream. A
// subscription has one message in hand at a time, so there are as many
// subscriptions of one consumer group as there are to be requests in flight.
type watermillPeer struct{}

const (
	watermillTopic = "notify"
	watermillGroup = "g"
)

// connect gives every subscription a connection to read and one to
// acknowledge on.
func (watermillPeer) connect(s setup) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.redis, PoolSize: 2*s.workers + 8})
}

func (p watermillPeer) fill(_ context.Context, s setup) error {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: p.connect(s)}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	defer publisher.Close()
	return s.inParallel(func() error {
		return publisher.Publish(watermillTopic, message.NewMessage(watermill.NewUUID(), s.body))
	})
}

func (p watermillPeer) drain(ctx context.Context, s setup, post func(context.Context, []byte) error) error {
	client := p.connect(s)
	defer client.Close()
	var working sync.WaitGroup
	for range s.workers {
		subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: client, ConsumerGroup: watermillGroup, DisableIndefiniteInitialBlock: true}, watermill.NopLogger{})
		if err != nil {
			return err
		}
		messages, err := subscriber.Subscribe(ctx, watermillTopic)
		if err != nil {
			return err
		}
		working.Go(func() { work(messages, post) })
	}
	working.Wait()
	return nil
}

// work posts each message; one that fails comes again.
func work(messages <-chan *message.Message, post func(context.Context, []byte) error) {
	for m := range messages {
		if err := post(m.Context(), m.Payload); err != nil {
			m.Nack()
			continue
		}
		m.Ack()
	}
}
