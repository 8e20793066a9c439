package fulloncache

// ForgetSymbols drops what this process holds close of an exchange's symbols, so
// that the next read asks Redis.
func ForgetSymbols(c *Client, exchange string) { c.kv.Forget(c.Symbols.keys.Symbols(exchange)) }
