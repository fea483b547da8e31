package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sipward/sipward/configs"
)

func TestIdentityKeysNeedAPlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	open := func(state string) (bool, error) {
		log.Reset()
		keys, err := openIdentity(&configs.Config{File: "x.yaml", State: state}, slog.New(slog.NewTextHandler(&log, nil)))
		if keys != nil {
			keys.Close()
		}
		return keys != nil, err
	}
	if made, err := open(configs.StateOff); made || err != nil || log.Len() > 0 {
		t.Errorf("state off: %v, %v, %s", made, err, log.String())
	}
	if made, err := open(filepath.Join(dir, "new")); !made || err != nil {
		t.Errorf("a folder to be made: %v, %v", made, err)
	}
	// A place that the configuration names has to be one.
	if made, err := open(filepath.Join(file, "sub")); made || err == nil || !strings.Contains(err.Error(), "change state in x.yaml") {
		t.Errorf("a folder within a file: %v, %v", made, err)
	}
	// One that it does not name need not.
	t.Setenv("STATE_DIRECTORY", filepath.Join(file, "sub"))
	if made, err := open(""); made || err != nil || !strings.Contains(log.String(), "no call can be signed") {
		t.Errorf("no place: %v, %v, %s", made, err, log.String())
	}
	// Nowhere does a key that is there and cannot be used pass for none.
	t.Setenv("STATE_DIRECTORY", dir)
	if made, err := open(""); !made || err != nil {
		t.Fatalf("%v, %v", made, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(filepath.Join(dir, "keys", "sipward.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if made, err := open(""); made || err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v, %v", made, err)
	}
}
