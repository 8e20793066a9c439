package fulloncache

import (
	"context"
	"sync"

	"github.com/fullon/fulloncache/internal/kv"
)

// chores are done behind callers' backs, one of a name at a time.
type chores[K comparable] struct {
	mu   sync.Mutex
	busy map[K]bool
}

// begin does a chore unless that is under way. After Close nothing is done any more.
func (c *chores[K]) begin(db *kv.Client, name K, do func(ctx context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[name] {
		return
	}
	if c.busy == nil {
		c.busy = make(map[K]bool)
	}
	c.busy[name] = db.Background(func(ctx context.Context) {
		defer c.end(name)
		do(ctx)
	})
}

func (c *chores[K]) end(name K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, name)
}
