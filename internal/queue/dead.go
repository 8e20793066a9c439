package queue

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// Letter is a dead letter.
type Letter struct {
	// Letter is the dead letter's own id, by which it is requeued and purged; later
	// ones are greater.
	Letter string
	Time   time.Time // when it became one
	// Message is what was submitted; of a foreign entry what of it could be read.
	Message
	Reason     string // the last error
	Deliveries int
	Entry      string            // its id in the stream
	Fields     map[string]string // as they were in the stream
}

// Stats count a queue's messages.
type Stats struct {
	Length  int64 // in the queue: waiting, delayed and being handled
	Pending int64 // of those, given to a consumer, delayed ones included
	Delayed int64 // of those, put back for later
	Dead    int64 // dead letters
}

// Stats returns how many messages there are.
func (q *Queue) Stats(ctx context.Context) (Stats, error) {
	cmds := []rueidis.Completed{
		q.db.B().Xlen().Key(q.keys.Dead()).Build(),
		q.db.B().Zcard().Key(q.keys.Delayed()).Build(),
	}
	for _, s := range q.streams {
		cmds = append(cmds, q.db.B().Xlen().Key(s).Build(), q.db.B().Xpending().Key(s).Group(group).Build())
	}
	var s Stats
	for i, r := range q.db.DoMulti(ctx, cmds) {
		if kv.IsNoGroup(r.Err) {
			continue // nobody has consumed yet
		}
		if r.Err != nil {
			return Stats{}, fmt.Errorf("stats of %s: %w", q.keys, q.failed(ctx, r.Err))
		}
		switch {
		case i == 0:
			s.Dead = whole(&r.Msg)
		case i == 1:
			s.Delayed = whole(&r.Msg)
		case i%2 == 0:
			s.Length += whole(&r.Msg)
		default:
			summary, _ := r.Msg.ToArray() // the server returns one
			s.Pending += whole(&summary[0])
		}
	}
	return s, nil
}

// Dead lists up to n dead letters, oldest first, after the one with an id, or from
// the first if it is empty.
func (q *Queue) Dead(ctx context.Context, after string, n int) ([]Letter, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	msg, err := q.db.Do(ctx, q.db.B().Xrange().Key(q.keys.Dead()).Start(from).End("+").Count(int64(n)).Build())
	if err != nil {
		return nil, fmt.Errorf("dead letters of %s: %w", q.keys, q.failed(ctx, err))
	}
	entries, _ := msg.AsXRangeSlices() // the server returns them
	letters := make([]Letter, len(entries))
	for i, e := range entries {
		letters[i] = letter(e)
	}
	return letters, nil
}

// letter reads a dead letter. A foreign entry among them has no reason.
func letter(e rueidis.XRangeSlice) Letter {
	l := Letter{Letter: e.ID, Fields: make(map[string]string)}
	ms, _, _ := strings.Cut(e.ID, "-")
	at, _ := strconv.ParseInt(ms, 10, 64) // the server made it
	l.Time = time.UnixMilli(at).UTC()
	own := e.FieldValues
	if len(own) >= 4 && own[0].Field == "reason" && own[1].Field == "deliveries" && own[2].Field == "partition" && own[3].Field == "entry" {
		l.Reason, l.Entry = own[0].Value, own[3].Value
		l.Deliveries, _ = strconv.Atoi(own[1].Value) // our script wrote it
		own = own[4:]
	}
	var d Delivery
	for _, f := range own {
		d.field(f.Field, f.Value)
		l.Fields[f.Field] = f.Value
	}
	l.Message = d.Message
	return l
}

// Requeue moves dead letters to the end of the queue, to be delivered as often as
// new messages, and returns how many. Those that are not there are left out; with
// [ErrFull], those that found room were moved.
func (q *Queue) Requeue(ctx context.Context, letters ...string) (int, error) {
	moved := 0
	var refused error
	names := append([]string{q.keys.Dead()}, q.streams...)
	for some := range slices.Chunk(letters, most) {
		msg, err := q.db.Run(ctx, kv.QueueRequeue, names, append([]string{strconv.Itoa(q.opt.Cap)}, some...))
		if err != nil {
			return moved, fmt.Errorf("requeue to %s: %w", q.keys, q.failed(ctx, err))
		}
		results, _ := msg.AsIntSlice() // our script returns one
		for i, r := range results {
			switch r {
			case 1:
				moved++
			case 3:
				refused = fmt.Errorf("requeue %s to %s: %w", some[i], q.keys, ErrFull)
			case 4:
				refused = fmt.Errorf("requeue %s to %s: %w: it is of a queue that is ordered and this one is not, or the reverse", some[i], q.keys, ErrInvalid)
			}
		}
	}
	return moved, refused
}

// Purge removes dead letters for good, and returns how many there were.
func (q *Queue) Purge(ctx context.Context, letters ...string) (int, error) {
	purged := 0
	for some := range slices.Chunk(letters, most) {
		msg, err := q.db.Do(ctx, q.db.B().Xdel().Key(q.keys.Dead()).Id(some...).Build())
		if err != nil {
			return purged, fmt.Errorf("purge %s: %w", q.keys, q.failed(ctx, err))
		}
		purged += int(whole(&msg))
	}
	return purged, nil
}
