package load

import "time"

// judge looks at every packet that arrived.
func (g *Generator) judge(s *script, in [directions]*inbox, warm int, r *Result) {
	calls := len(s.streams) / int(directions)
	position := make([]int, len(s.streams)) // of a stream in an interval, by call and direction
	for i, stream := range s.streams {
		position[stream.call*int(directions)+int(stream.dir)] = i
	}
	arrived := make([]bool, len(s.sent))
	latency := make([]time.Duration, 0, len(s.sent))
	var clearBuf, scratch [slotLen]byte
	for d := direction(0); d < directions; d++ {
		box := in[d]
		for i := range box.count {
			pkt := box.packet(i)
			if !isRTP(pkt) {
				r.Foreign++
				continue
			}
			var err error
			from := -1
			if d == protecting {
				call, known := g.bySrc[box.from[i]]
				if !known {
					r.Foreign++
					continue
				}
				from = call
				if decrypt := g.calls[call].decrypt; decrypt != nil {
					pkt, err = decrypt.DecryptRTP(clearBuf[:0], pkt, nil)
				}
			}
			if err != nil {
				r.Invalid++
				continue
			}
			n, whole := readPacket(pkt, scratch[:])
			round := int(int32(n.number - s.first))
			if whole && round < 0 && n.dir == d {
				continue // late, of an earlier run
			}
			if !whole || n.dir != d || int(n.call) >= calls || round < 0 || round >= s.rounds || from >= 0 && from != int(n.call) {
				r.Invalid++
				continue
			}
			which := round*len(s.streams) + position[int(n.call)*int(directions)+int(d)]
			if arrived[which] {
				r.Duplicate++
				continue
			}
			arrived[which] = true
			if box.at[i] >= r.began && box.at[i] < r.ended {
				r.Delivered++
			}
			if round >= warm {
				latency = append(latency, time.Duration(box.at[i]-s.sent[which]))
			}
		}
	}
	late := make([]time.Duration, 0, len(s.sent))
	for i := warm * len(s.streams); i < len(s.sent); i++ {
		if s.sent[i] == 0 {
			continue
		}
		r.Sent++
		if !arrived[i] {
			r.Lost++
		}
		late = append(late, time.Duration(s.sent[i]-s.due(i)))
	}
	r.Latency, r.Late = spreadOf(latency), spreadOf(late)
}
