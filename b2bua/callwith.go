package b2bua

// CallWith returns the live call one of whose dialogs, on either leg, has this
// Call-ID (RFC 3261 section 8.1.1.4). So whoever is called by the proxy can ask
// about the call.
func (p *Proxy) CallWith(callID string) (View, bool) {
	found := p.withDialog(callID)
	if found == nil || callID == "" {
		return View{}, false
	}
	return found.View(), true
}
