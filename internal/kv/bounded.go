package kv

import "github.com/maypok86/otter/v2"

// Bounded holds values by key, and drops those that are used least once it is full. It
// is an interface so that otter's types are seen here alone: what instantiates a generic
// type, or only imports a type that has one as a field, compiles all its methods anew.
// Those of a cache of otter are a thousand, and the build of every bot would pay for
// them. So it is with the other generic types of the engines.
type Bounded interface {
	Get(key string) (v any, ok bool)
	Set(key string, v any)
	Delete(key string)
	Clear()
}

// NewBounded returns one that holds at most size values.
func NewBounded(size int) Bounded {
	return bounded{otter.Must(&otter.Options[string, any]{MaximumSize: size})}
}

type bounded struct{ cache *otter.Cache[string, any] }

func (b bounded) Get(key string) (any, bool) { return b.cache.GetIfPresent(key) }
func (b bounded) Set(key string, v any)      { b.cache.Set(key, v) }
func (b bounded) Delete(key string)          { b.cache.Invalidate(key) }
func (b bounded) Clear()                     { b.cache.InvalidateAll() }
