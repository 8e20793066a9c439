// Package fulloncache is the shared real-time state of a trading system, on
// Redis, in Go.
package fulloncache
