package notice

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of push options, in bytes.
const (
	MaxAnalyticsLabel = 50 // FCM takes [a-zA-Z0-9-_.~%]{1,50}
	maxOption         = 512
)

// Environment is which of Apple's two services knows a device: apps that were
// installed from Xcode register with the sandbox.
type Environment string

// The environments; empty is the one that the gateway is configured for.
const (
	EnvironmentProduction Environment = "production"
	EnvironmentSandbox    Environment = "sandbox"
)

// PushOptions are what each push service is told beside title, body and data.
// A service that a device does not use ignores its part.
type PushOptions struct {
	APNs    *APNsOptions    `json:"apns,omitzero"`
	FCM     *FCMOptions     `json:"fcm,omitzero"`
	WebPush *WebPushOptions `json:"webpush,omitzero"`
}

// APNsOptions are headers and members of aps, by Apple's names with
// underscores ("Generating a remote notification" and "Sending notification
// requests to APNs", Apple Developer Documentation).
type APNsOptions struct {
	// PushType empty is alert, or background where there is nothing to show.
	PushType PushType `json:"push_type,omitzero"`
	// Priority 0 is 10, or 5 on the bulk lane and for background.
	Priority          int            `json:"priority,omitzero"`
	Badge             *int           `json:"badge,omitzero"`
	Sound             jsontext.Value `json:"sound,omitzero"` // a file's name, or {critical, name, volume}; null: silent
	ThreadID          string         `json:"thread_id,omitzero"`
	Category          string         `json:"category,omitzero"` // of the notification's actions, not of preferences
	InterruptionLevel string         `json:"interruption_level,omitzero"`
	RelevanceScore    *float64       `json:"relevance_score,omitzero"`
	MutableContent    bool           `json:"mutable_content,omitzero"`
	ContentAvailable  bool           `json:"content_available,omitzero"`
	TargetContentID   string         `json:"target_content_id,omitzero"`
	FilterCriteria    string         `json:"filter_criteria,omitzero"`
	// APS holds further members of aps: alert (subtitle, loc-key), or a live
	// activity's event, timestamp and content-state.
	APS jsontext.Value `json:"aps,omitzero"`
}

// PushType is the apns-push-type of a push.
type PushType string

// The push types that Apple documents.
const (
	PushAlert        PushType = "alert"
	PushBackground   PushType = "background"
	PushVoIP         PushType = "voip"
	PushComplication PushType = "complication"
	PushFileProvider PushType = "fileprovider"
	PushMDM          PushType = "mdm"
	PushLocation     PushType = "location"
	PushLiveActivity PushType = "liveactivity"
	PushToTalk       PushType = "pushtotalk"
	PushControls     PushType = "controls"
	PushWidgets      PushType = "widgets"
)

// PushTypes lists every push type.
func PushTypes() []PushType {
	return []PushType{PushAlert, PushBackground, PushVoIP, PushComplication, PushFileProvider, PushMDM, PushLocation,
		PushLiveActivity, PushToTalk, PushControls, PushWidgets}
}

// FCMOptions are parts of FCM's message, by its names ("REST Resource:
// projects.messages", Firebase Cloud Messaging).
type FCMOptions struct {
	AnalyticsLabel string          `json:"analytics_label,omitzero"`
	Image          string          `json:"image,omitzero"` // URL of a picture that is shown
	Android        *AndroidOptions `json:"android,omitzero"`
	APNs           *FCMAPNs        `json:"apns,omitzero"`
	WebPush        *FCMWebPush     `json:"webpush,omitzero"`
}

// AndroidOptions are AndroidConfig's.
type AndroidOptions struct {
	// Priority is high or normal; empty: normal on the bulk lane, high else.
	Priority              string               `json:"priority,omitzero"`
	RestrictedPackageName string               `json:"restricted_package_name,omitzero"`
	DirectBootOK          bool                 `json:"direct_boot_ok,omitzero"`
	Notification          *AndroidNotification `json:"notification,omitzero"`
}

// AndroidNotification is how Android shows a push.
type AndroidNotification struct {
	ChannelID   string `json:"channel_id,omitzero"`
	Icon        string `json:"icon,omitzero"`
	Color       string `json:"color,omitzero"` // #rrggbb
	Sound       string `json:"sound,omitzero"`
	Tag         string `json:"tag,omitzero"` // empty: the collapse key
	ClickAction string `json:"click_action,omitzero"`
	Image       string `json:"image,omitzero"`
	Ticker      string `json:"ticker,omitzero"`
	Sticky      bool   `json:"sticky,omitzero"`
	LocalOnly   bool   `json:"local_only,omitzero"`
	Count       *int   `json:"notification_count,omitzero"`
}

// FCMAPNs is ApnsConfig: for iOS devices that are registered with FCM.
type FCMAPNs struct {
	Headers map[string]string `json:"headers,omitempty"`
	Payload jsontext.Value    `json:"payload,omitzero"`
}

// FCMWebPush is WebpushConfig: for browsers that are registered with FCM.
type FCMWebPush struct {
	Headers      map[string]string `json:"headers,omitempty"`
	Notification jsontext.Value    `json:"notification,omitzero"`
	Link         string            `json:"link,omitzero"` // https URL that a click opens
}

// WebPushOptions are for browsers that are subscribed without FCM.
type WebPushOptions struct {
	// Urgency is RFC 8030 §5.3's; empty: by the lane.
	Urgency string `json:"urgency,omitzero"`
	// Notification is handed to the page's service worker: the options of its
	// showNotification (icon, tag, actions).
	Notification jsontext.Value `json:"notification,omitzero"`
}

// Check adds what is wrong with the options, whose own pointer is at.
func (o *PushOptions) Check(at string, f *Faults) {
	if o.APNs != nil {
		o.APNs.check(at+"/apns", f)
	}
	if o.FCM != nil {
		o.FCM.check(at+"/fcm", f)
	}
	if w := o.WebPush; w != nil {
		checkWord(f, at+"/webpush/urgency", "urgency", w.Urgency, "very-low", "low", "normal", "high")
		checkObject(f, at+"/webpush/notification", w.Notification)
	}
}

func (o *APNsOptions) check(at string, f *Faults) {
	checkWord(f, at+"/push_type", "push type", string(o.PushType), words(PushTypes())...)
	checkWord(f, at+"/interruption_level", "interruption level", o.InterruptionLevel, "passive", "active", "time-sensitive", "critical")
	o.checkPriority(at+"/priority", f)
	if o.Badge != nil && *o.Badge < 0 {
		f.Add(at+"/badge", fmt.Sprintf("is %d: want 0, which removes it, or more", *o.Badge))
	}
	if s := o.RelevanceScore; s != nil && (*s < 0 || *s > 1) && o.PushType != PushLiveActivity {
		f.Add(at+"/relevance_score", fmt.Sprintf("is %v: want 0 to 1", *s))
	}
	checkTexts(f, at, [][2]string{{"thread_id", o.ThreadID}, {"category", o.Category},
		{"target_content_id", o.TargetContentID}, {"filter_criteria", o.FilterCriteria}})
	checkSound(f, at+"/sound", o.Sound)
	o.checkAPS(at+"/aps", f)
}

// checkPriority holds the priority against the push type ("Sending
// notification requests to APNs": background pushes with priority 10 are an
// error, push to talk wants 10).
func (o *APNsOptions) checkPriority(at string, f *Faults) {
	switch {
	case o.Priority == 0:
	case o.Priority != 1 && o.Priority != 5 && o.Priority != 10:
		f.Add(at, fmt.Sprintf("is %d: want 10 (now), 5 (when the device's battery allows) or 1 (never wakes it)", o.Priority))
	case o.PushType == PushBackground && o.Priority == 10:
		f.Add(at, "is 10, which Apple refuses for background pushes: want 5 or 1")
	case o.PushType == PushToTalk && o.Priority != 10:
		f.Add(at, fmt.Sprintf("is %d, and push to talk wants 10: leave it out", o.Priority))
	}
}

// checkAPS refuses members that have an option of their own, so that nothing
// is said twice.
func (o *APNsOptions) checkAPS(at string, f *Faults) {
	if !checkObject(f, at, o.APS) {
		return
	}
	for _, name := range []string{"badge", "sound", "thread-id", "category", "interruption-level", "relevance-score",
		"mutable-content", "content-available", "target-content-id", "filter-criteria"} {
		if hasMember(o.APS, name) {
			f.Add(at+"/"+name, "has an option of its own: write it as "+strings.ReplaceAll(name, "-", "_")+" beside aps")
		}
	}
}

// criticalSound is a sound that is heard while the phone is muted.
type criticalSound struct {
	Critical int      `json:"critical"`
	Name     string   `json:"name"`
	Volume   *float64 `json:"volume"`
}

func checkSound(f *Faults, at string, v jsontext.Value) {
	switch v.Kind() {
	case 0, 'n', '"':
		return
	case '{':
	default:
		f.Add(at, "want a sound file's name, or {\"critical\":1,\"name\",\"volume\"}, got "+describe(v))
		return
	}
	var s criticalSound
	if err := Decode(v, &s); err != nil {
		f.Add(at, "want {\"critical\":1,\"name\",\"volume\"}: "+err.Error())
		return
	}
	if s.Critical != 0 && s.Critical != 1 {
		f.Add(at+"/critical", fmt.Sprintf("is %d: want 1, or 0", s.Critical))
	}
	if s.Volume != nil && (*s.Volume < 0 || *s.Volume > 1) {
		f.Add(at+"/volume", fmt.Sprintf("is %v: want 0 to 1", *s.Volume))
	}
}

func (o *FCMOptions) check(at string, f *Faults) {
	if len(o.AnalyticsLabel) > MaxAnalyticsLabel || strings.Trim(o.AnalyticsLabel, topicLetters) != "" {
		f.Add(at+"/analytics_label", fmt.Sprintf("%q cannot be one: use up to %d letters, digits and -_.~%%", clip(o.AnalyticsLabel), MaxAnalyticsLabel))
	}
	addIf(f, at+"/image", o.Image, checkHTTPS)
	if o.Android != nil {
		o.Android.check(at+"/android", f)
	}
	if a := o.APNs; a != nil {
		checkHeaders(f, at+"/apns/headers", a.Headers)
		checkObject(f, at+"/apns/payload", a.Payload)
	}
	if w := o.WebPush; w != nil {
		checkHeaders(f, at+"/webpush/headers", w.Headers)
		checkObject(f, at+"/webpush/notification", w.Notification)
		addIf(f, at+"/webpush/link", w.Link, checkHTTPS)
	}
}

func (o *AndroidOptions) check(at string, f *Faults) {
	checkWord(f, at+"/priority", "priority", o.Priority, "high", "normal")
	checkTexts(f, at, [][2]string{{"restricted_package_name", o.RestrictedPackageName}})
	n := o.Notification
	if n == nil {
		return
	}
	at += "/notification"
	if n.Color != "" && !isColor(n.Color) {
		f.Add(at+"/color", fmt.Sprintf("%q is no color: write it as #rrggbb", clip(n.Color)))
	}
	addIf(f, at+"/image", n.Image, checkHTTPS)
	checkTexts(f, at, [][2]string{{"channel_id", n.ChannelID}, {"icon", n.Icon}, {"sound", n.Sound}, {"tag", n.Tag},
		{"click_action", n.ClickAction}, {"ticker", n.Ticker}})
	if n.Count != nil && *n.Count < 0 {
		f.Add(at+"/notification_count", fmt.Sprintf("is %d: want 0 or more", *n.Count))
	}
}

func isColor(s string) bool {
	_, err := strconv.ParseUint(strings.TrimPrefix(s, "#"), 16, 32)
	return err == nil && len(s) == 7 && s[0] == '#'
}

func checkWord(f *Faults, at, what, word string, known ...string) {
	if word != "" && !slices.Contains(known, word) {
		f.Add(at, unknownWord(what, word, known))
	}
}

// checkTexts holds options, each a name and what it says, against their rules.
func checkTexts(f *Faults, at string, options [][2]string) {
	for _, o := range options {
		switch name, text := o[0], o[1]; {
		case len(text) > maxOption:
			f.Add(at+"/"+name, tooLong(len(text), maxOption))
		case !printable(text):
			f.Add(at+"/"+name, unprintable(text))
		}
	}
}

// checkObject reports whether v is an object; what is absent or null is none,
// and no fault.
func checkObject(f *Faults, at string, v jsontext.Value) bool {
	switch v.Kind() {
	case '{':
		return true
	case 0, 'n':
	default:
		f.Add(at, "want an object, got "+describe(v))
	}
	return false
}

func checkHeaders(f *Faults, at string, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value := headers[name]
		if name == "" || !printable(name) || strings.ContainsAny(name, " :") || !printable(value) || len(value) > maxOption {
			f.Add(at, fmt.Sprintf("%q cannot be a header, or its value none: use printable text", clip(name)))
		}
	}
}

func checkHTTPS(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || !printable(s) || len(s) > MaxWebhook {
		return "is no https URL: write it as https://example.com/picture.png"
	}
	return ""
}

// topicLetters are what FCM's topics and analytics labels are made of.
const topicLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~%"

// The prefixes of an android device's token that address no device but many:
// FCM's topics, and conditions over them. No registration token begins so.
const (
	TopicPrefix     = "topic:"
	ConditionPrefix = "condition:"
)

// maxTopics is how many topics one condition may name ("Send messages to
// topics", Firebase Cloud Messaging).
const maxTopics = 5

// IsTopic reports whether a token addresses a topic or a condition, which no
// answer of a provider can kill.
func IsTopic(token string) bool {
	return strings.HasPrefix(token, TopicPrefix) || strings.HasPrefix(token, ConditionPrefix)
}

// checkTopic says what is wrong with a token that IsTopic.
func checkTopic(token string) string {
	if name, ok := strings.CutPrefix(token, TopicPrefix); ok {
		if isTopicName(name) {
			return ""
		}
		return "is no topic: write it as topic:news, with letters, digits and -_.~%"
	}
	c := condition{rest: strings.TrimPrefix(token, ConditionPrefix)}
	if !c.whole() {
		return "is no condition: write it as condition:'news' in topics && ('de' in topics || 'at' in topics)"
	}
	if c.topics > maxTopics {
		return fmt.Sprintf("names %d topics: at most %d", c.topics, maxTopics)
	}
	return ""
}

func isTopicName(s string) bool { return s != "" && strings.Trim(s, topicLetters) == "" }

// condition reads a boolean expression over topics.
type condition struct {
	rest   string
	topics int
}

func (c *condition) whole() bool { return c.either(0) && strings.Trim(c.rest, " ") == "" }

func (c *condition) take(word string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(c.rest, " "), word)
	if ok {
		c.rest = rest
	}
	return ok
}

// either reads terms that && or || join.
func (c *condition) either(depth int) bool {
	for c.term(depth) {
		if !c.take("&&") && !c.take("||") {
			return true
		}
	}
	return false
}

func (c *condition) term(depth int) bool {
	for c.take("!") {
	}
	if c.take("(") {
		return depth < maxTopics && c.either(depth+1) && c.take(")")
	}
	if !c.take("'") {
		return false
	}
	name, rest, ok := strings.Cut(c.rest, "'")
	if !ok || !isTopicName(name) {
		return false
	}
	c.rest, c.topics = rest, c.topics+1
	return c.take("in") && c.take("topics")
}
