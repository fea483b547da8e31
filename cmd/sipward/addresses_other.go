//go:build !linux

package main

import (
	"context"
	"time"
)

// addressPoll is how often addresses are looked at.
const addressPoll = 5 * time.Second

// watchAddresses returns a channel on which nothing comes: here the addresses are
// looked at again and again.
func watchAddresses(context.Context) (<-chan struct{}, error) { return nil, nil }
