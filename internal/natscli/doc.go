// Package natscli keeps the version of the nats command that the tests run against the hub. It is
// a module of its own, so that what the command is made of is no dependency of the hub.
package natscli
