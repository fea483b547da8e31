//go:build !linux

package media

import "log/slog"

// newTransport serves UDP sockets of package net.
func newTransport(w *worker, _ *slog.Logger) (transport, error) {
	return newPortable(w, listenUDP), nil
}
