package main

import (
	"fmt"
	"runtime/debug"

	"vezeuniqverse.com/vezechat"
)

// versionCmd prints what this program was made from.
type versionCmd struct{}

// Run is called by kong.
func (versionCmd) Run(s streams) error {
	_, err := fmt.Fprintf(s.out, "%s %s\n", vezechat.Name, version())
	return err
}

// version is the module's version, else the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v + " " + info.GoVersion
	}
	rev, dirty := "devel", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			rev = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+"
		}
	}
	return rev + dirty + " " + info.GoVersion
}
