//go:build !linux

package media

// startTransport gives the worker UDP sockets of package net.
func startTransport(w *worker, _ Options) error {
	w.net = newPortable(w, listenUDP)
	return nil
}
