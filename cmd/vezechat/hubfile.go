package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// hubFile is DATA_DIR/hub.json: how the commands on this machine find the stores
// of a hub that brought its own. It holds passwords, is readable by its owner
// only, and is there while the hub runs.
type hubFile struct {
	URL         string `json:"url"`
	DatabaseURL string `json:"database_url,omitempty"`
	RedisURL    string `json:"redis_url,omitempty"`
	NatsURL     string `json:"nats_url,omitempty"`
	PID         int    `json:"pid"`
}

const (
	hubFileName  = "hub.json"
	natsFileName = "nats.url"
)

// writeFile replaces a file of the data directory in one step.
func (p *place) writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(p.DataDir, "."+name+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(p.DataDir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (p *place) writeHub(h hubFile) error {
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	return p.writeFile(hubFileName, append(b, '\n'))
}

// readHub returns the hub that runs on the data directory; the zero hubFile when
// none does.
func (p *place) readHub() (hubFile, error) {
	var h hubFile
	b, err := os.ReadFile(p.file(hubFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil {
		return h, fmt.Errorf("%s: %w", hubFileName, err)
	}
	return h, nil
}

// remove takes a file of the data directory away, if it is still there.
func (p *place) remove(name string) error {
	if err := os.Remove(p.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
