package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/sipward/sipward/b2bua"
)

// routes binds paths to answers. guard has checked who asks, and the method; a
// GET pattern matches HEAD as well.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/calls", s.getCalls)
	mux.HandleFunc("GET /api/calls/{id}", s.getCall)
	mux.HandleFunc("GET /api/events", s.getEvents)
	mux.HandleFunc("GET /api/status", s.getStatus)
	mux.HandleFunc("POST "+unblockPath, s.postUnblock)
	mux.HandleFunc("POST /api/calls/{id}/sas", s.postSAS)
	mux.HandleFunc("GET /api/trust", s.getTrust)
	mux.HandleFunc("POST "+trustPath+"{verb}", s.postTrust)
	mux.HandleFunc("GET "+healthPath, getHealth)
	mux.Handle("GET /metrics", s.metrics.handler(s.log))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "no such path; there are /api/calls, /api/calls/{id}, /api/calls/{id}/sas, /api/events, /api/status, /api/trust, /api/unblock, /healthz and /metrics")
	})
	return mux
}

func (s *Server) getCalls(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.calls())
}

func (s *Server) getCall(w http.ResponseWriter, r *http.Request) {
	v, ok := s.source.Call(r.PathValue("id"))
	if !ok {
		writeError(w, http.StatusNotFound, "no live call has this id")
		return
	}
	writeJSON(w, http.StatusOK, shown(v))
}

func getHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// calls returns the live calls, oldest first; never nil.
func (s *Server) calls() []b2bua.View {
	from := s.source.Calls()
	calls := make([]b2bua.View, 0, len(from))
	for _, v := range from {
		calls = append(calls, shown(v))
	}
	slices.SortFunc(calls, func(a, b b2bua.View) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
	return calls
}

// shown makes a view's lists empty where they are nil: null in the place of a
// list is what programs stumble over.
func shown(v b2bua.View) b2bua.View {
	if v.Legs == nil {
		v.Legs = []b2bua.LegView{}
	}
	return v
}

// problem is the body of every refusal and of the last event of a stream.
type problem struct {
	Error string `json:"error"`
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, problem{text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(v); err != nil {
		// Only a time beyond the year 9999 does this.
		http.Error(w, `{"error":"this answer has no JSON form"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body.Bytes()) // an error here is the client's: there is nobody left to tell
}
