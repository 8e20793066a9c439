package embedded_test

import (
	"context"
	"fmt"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
)

func ExampleStart() {
	ctx := context.Background()
	srv, err := embedded.Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	c, err := fulloncache.New(ctx, srv.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println(c.Base.Ping(ctx))
	// Output: <nil>
}
