package config

// Over is what happens to a delivery over a cap.
type Over string

// What a full cap does.
const (
	OverDrop  Over = "drop"  // status capped
	OverDefer Over = "defer" // parked until the cap has room
)

// Throttle is what a recipient is spared.
type Throttle struct {
	PerUser    []Cap       `yaml:"per_user" doc:"caps a recipient sees, by category and channel"`
	QuietHours *QuietHours `yaml:"quiet_hours" doc:"when nobody is disturbed, in the recipient's time zone"`
}

// Cap is one limit on what one recipient gets.
type Cap struct {
	Name     string `yaml:"name" doc:"the rule's name in records; made of the other fields when empty"`
	Category string `yaml:"category" doc:"the category it counts; * for any" default:"\"*\""`
	Channel  string `yaml:"channel" doc:"email, push or webhook; * for any" default:"\"*\""`
	Limit    Rate   `yaml:"limit" doc:"how many in which sliding window, as 3/24h"`
	Over     Over   `yaml:"over" doc:"drop or defer" default:"defer"`
}

// QuietHours is a time of day in which deliveries wait.
type QuietHours struct {
	From   string   `yaml:"from" doc:"HH:MM"`
	To     string   `yaml:"to" doc:"HH:MM"`
	Except []string `yaml:"except" doc:"lanes or categories that do not wait"`
}
