package b2bua

import (
	"log/slog"
	"sync"
	"time"

	"github.com/sipward/sipward/sip"
)

const (
	keepAliveUDP = 25 * time.Second // below the 30 s of stingy NATs
	keepAliveTCP = 2 * time.Minute
)

// keptFlows keeps the flows to registrars open, each once, however many
// accounts are on it.
type keptFlows struct {
	start func(flow sip.Flow, every time.Duration, lost func(error)) (stop func())
	log   *slog.Logger

	mu    sync.Mutex
	flows map[sip.Flow]*keptFlow // by flows that name no connection
}

type keptFlow struct {
	users int
	stop  func()
}

// hold keeps a flow, which names no connection, until it was released as often
// as it was held.
func (k *keptFlows) hold(f sip.Flow) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.flows[f]
	if kept == nil {
		every := keepAliveUDP
		if f.Network() != "udp" {
			every = keepAliveTCP
		}
		kept = &keptFlow{stop: k.start(f, every, func(err error) {
			// Only phones can register again, and they do soon: see told.
			k.log.Info("the connection to a registrar has ended; phones register again within two minutes", "registrar", f.Remote(), "error", err)
		})}
		k.flows[f] = kept
	}
	kept.users++
}

func (k *keptFlows) release(f sip.Flow) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.flows[f]
	if kept == nil {
		return
	}
	if kept.users--; kept.users == 0 {
		kept.stop()
		delete(k.flows, f)
	}
}
