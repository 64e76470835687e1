// Package sla decides when a ticket is late: working hours as sets of instants,
// and the clocks that count them.
//
// It is pure. It knows neither the time, which is an argument everywhere, nor a
// database, nor who is told: storage keeps the clocks as rows, and asks Plan what
// each event of a ticket does to them and when they want to be looked at again.
//
// What it promises: arithmetic is on instants, so that nothing drifts over days on
// which clocks are changed; Add and Between agree to the nanosecond; a clock warns
// and is breached once each, in the order of their percentages, whatever is
// changed meanwhile; what was consumed is kept through pauses, other policies,
// other queues and reopening.
package sla
