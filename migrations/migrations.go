// Package migrations holds the tables of the hub as goose migrations, one .sql
// file per step. They go forward only: a step that has landed is never changed,
// later ones expand, move and contract. Who runs them is storage/postgres.
package migrations

import "embed"

// FS has the .sql files at its root.
//
//go:embed *.sql
var FS embed.FS
