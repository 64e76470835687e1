// Package e2e holds the hub to what it promises to people: its tests run the real
// program as it is built, with the PostgreSQL, Redis and NATS that it brings
// along, and use it as people and other services do: with a browser, redis-cli,
// psql and curl, and the program's own commands.
//
// It has nothing but tests, and must not look inside the hub: what cannot be seen
// from outside is the business of the package that does it.
package e2e
