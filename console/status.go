package console

import (
	"net/http"
	"time"

	"github.com/sipward/sipward/b2bua"
)

// Status is how a sipward is at one moment.
type Status struct {
	Version   string              `json:"version"`
	Started   time.Time           `json:"started"`
	Uptime    int64               `json:"uptime"`     // seconds; the server sets it
	Listeners []ListenerStatus    `json:"listeners"`  // never null
	Phones    *int                `json:"phones"`     // contacts that are registered now; null where none can register
	Calls     map[string]int      `json:"calls"`      // live calls by protection, those of 0 included; the server sets it
	Blocked   []b2bua.Blocked     `json:"blocked"`    // who gets no answers, and why; never null
	Trunks    []b2bua.TrunkStatus `json:"trunks"`     // accounts at providers in the order of the configuration; never null
	StateFile string              `json:"state_file"` // "" where nothing is kept over a restart
}

// ListenerStatus is one socket that takes SIP messages.
type ListenerStatus struct {
	Name      string `json:"name"`
	Side      string `json:"side"`      // inside or outside
	Network   string `json:"network"`   // udp, tcp or tls
	Address   string `json:"address"`   // ip:port
	Advertise string `json:"advertise"` // ip:port that its messages name
}

func (s *Server) getStatus(w http.ResponseWriter, _ *http.Request) {
	if s.status == nil {
		writeError(w, http.StatusNotFound, "this console shows no status")
		return
	}
	now := s.status()
	if !now.Started.IsZero() {
		now.Uptime = int64(time.Since(now.Started) / time.Second)
	}
	now.Calls = map[string]int{}
	for _, p := range protections {
		now.Calls[p] = 0
	}
	for _, v := range s.source.Calls() {
		now.Calls[oneOf(protections, v.Protection)]++
	}
	if now.Listeners == nil {
		now.Listeners = []ListenerStatus{}
	}
	if now.Blocked == nil {
		now.Blocked = []b2bua.Blocked{}
	}
	if now.Trunks == nil {
		now.Trunks = []b2bua.TrunkStatus{}
	}
	writeJSON(w, http.StatusOK, now)
}
