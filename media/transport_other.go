//go:build !linux

package media

import "log/slog"

// startTransport gives the worker UDP sockets of package net.
func startTransport(w *worker, _ *slog.Logger) error {
	w.net = newPortable(w, listenUDP)
	return nil
}
