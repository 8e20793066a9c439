package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/fullon/fulloncache/internal/keys"
)

const keysHead = `# Keys

Every key and channel of the cache in Redis: its name, its type, what it holds, when it goes.

` + generated + `
A key is kind:identifier:rest, behind CACHE_KEY_PREFIX and ":" if that is set. In a cluster the identifier stands in braces, the hash tag, so that what one script touches is on one node. A symbol of the form BASE/QUOTE loses its "/" in a key; "%", further slashes, ":", braces, glob characters, white space, control characters and what is not UTF-8 are percent-encoded. Values carry the symbol as it was given, and of two symbols that meet in one key the second is refused.

Channels begin with "db" and the number of the database, for Redis publishes across databases. In a cluster messages are sharded (SPUBLISH, SSUBSCRIBE).

Read them with any client. Write them through the library: what scripts keep in step (indexes, revisions, fencing tokens) a write by hand does not.
`

// plumbing are functions of internal/keys that name no key.
var plumbing = map[string]bool{
	"New": true, "Prefix": true, "Revs": true, "Patterns": true, "OrderQueue": true, "ChannelKey": true,
	"User": true, "Symbol": true, "Escape": true, "BarsName": true, "BarsNameOf": true, "Cluster": true,
}

// beside are the keys that lie beside another one, by the functions' names.
var beside = map[string]any{
	"TradesTaken": keys.TradesTaken, "TradesDue": keys.TradesDue, "TradesInfo": keys.TradesInfo, "TradesSeen": keys.TradesSeen,
	"NewOrdersSeen": keys.NewOrdersSeen,
	"LeaseLine":     keys.LeaseLine, "LeaseWaiting": keys.LeaseWaiting, "PositionFills": keys.PositionFills,
}

// sample is what stands for a parameter of a key.
func sample(s keys.Space, name string, kind reflect.Kind) (any, error) {
	switch kind {
	case reflect.Int:
		return 3, nil
	case reflect.Int64:
		return int64(123), nil
	}
	v, ok := map[string]string{
		"exchange": "kraken", "symbol": "BTC/USD", "id": "7", "queue": "kraken", "timeframe": "1m", "kind": "bot", "component": "bot_1",
		"bot": "bot_1", "client": "C4F2",
		"list": s.Trades("kraken", "BTC/USD"), "lease": s.Block("kraken", "BTC/USD"), "positions": s.Positions(123, "kraken"),
	}[name]
	if !ok {
		return nil, fmt.Errorf("nothing stands for a parameter %q: see scripts/reference", name)
	}
	return v, nil
}

// keyReference returns the table of keys, in the order of internal/keys.
func keyReference(root string) (string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "internal/keys/keys.go"), nil, parser.ParseComments)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(keysHead)
	for _, d := range f.Decls {
		decl, ok := d.(*ast.FuncDecl)
		if !ok || !decl.Name.IsExported() || plumbing[decl.Name.Name] {
			continue
		}
		key, err := keyOf(keys.New("", 0, false), decl)
		if err != nil {
			return "", err
		}
		tagged, err := keyOf(keys.New("", 0, true), decl)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\n## %s\n\n```\n%s\n", decl.Name.Name, key)
		if tagged != key {
			fmt.Fprintf(&b, "%s    in a cluster\n", tagged)
		}
		fmt.Fprintf(&b, "```\n\n%s\n", strings.TrimSpace(strings.ReplaceAll(decl.Doc.Text(), "\n", " ")))
	}
	return b.String(), nil
}

// keyOf calls the function that names a key.
func keyOf(s keys.Space, decl *ast.FuncDecl) (string, error) {
	name := decl.Name.Name
	var fn reflect.Value
	switch {
	case decl.Recv == nil:
		fn = reflect.ValueOf(beside[name])
	case decl.Recv.List[0].Type.(*ast.Ident).Name == "Queue":
		fn = reflect.ValueOf(s.OrderQueue("kraken")).MethodByName(name)
	default:
		fn = reflect.ValueOf(s).MethodByName(name)
	}
	if !fn.IsValid() {
		return "", fmt.Errorf("internal/keys: %s is unknown: add it to scripts/reference", name)
	}
	var args []reflect.Value
	for _, field := range decl.Type.Params.List {
		for _, param := range field.Names {
			v, err := sample(s, param.Name, fn.Type().In(len(args)).Kind())
			if err != nil {
				return "", fmt.Errorf("internal/keys: %s: %w", name, err)
			}
			args = append(args, reflect.ValueOf(v))
		}
	}
	return fn.Call(args)[0].String(), nil
}
