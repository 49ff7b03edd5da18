// Package routing decides which integration events notify anybody: it compiles
// the configuration's routes once, and turns a CloudEvent into the
// notifications that the matching routes describe.
//
// An event of a type that no route names is the common case and costs a few
// map look-ups: its data is not decoded. An event from outside can make a
// route fail, with an error that names the route, but can neither make it spin
// nor make it put a blank or an unbounded value into a notification.
package routing
