package door

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Blocked is somebody who gets no answers.
type Blocked struct {
	Source string    `json:"source"` // an address, or a network of IPv6; "": wherever it comes from
	User   string    `json:"user"`   // "": whoever it claims to be
	Why    string    `json:"why"`    // in words
	Count  int       `json:"count"`  // how often
	Until  time.Time `json:"until"`
}

// Blocked lists who gets no answers now, who is freed last in front.
func (d *Door) Blocked(now time.Time) []Blocked {
	j := d.jail
	j.mu.Lock()
	defer j.mu.Unlock()
	out := []Blocked{}
	for s := range j.inmates.Keys() {
		if i := j.inmates.Find(s); now.Before(i.until) {
			out = append(out, Blocked{shownSource(s.source), s.user, s.why, i.offences, i.until})
		}
	}
	slices.SortFunc(out, func(a, b Blocked) int {
		return cmp.Or(b.Until.Compare(a.Until), cmp.Compare(a.Source, b.Source), cmp.Compare(a.User, b.User))
	})
	return out
}

func shownSource(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

// Unblock lets a source try again at once, and returns how many entries of
// [Door.Blocked] this took away. The zero Addr stands for every source, user ""
// for every user.
func (d *Door) Unblock(source netip.Addr, user string, now time.Time) int {
	source = source.Unmap().WithZone("")
	j := d.jail
	j.mu.Lock()
	defer j.mu.Unlock()
	freed := 0
	for s := range j.inmates.Keys() {
		if source.IsValid() && !s.source.Contains(source) || user != "" && s.user != user {
			continue
		}
		if now.Before(j.inmates.Find(s).until) {
			freed++
		}
		j.inmates.Forget(s)
	}
	return freed
}
