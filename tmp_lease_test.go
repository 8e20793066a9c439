package fulloncache_test
import ("testing"
"github.com/fullon/fulloncache"
"github.com/fullon/fulloncache/internal/testenv")
func BenchmarkTmpLease(b *testing.B){
 srv:=testenv.Redis(b)
 c:=open(b,fulloncache.Config{URL:srv.URL()})
 ctx:=testenv.Context(b)
 b.ReportAllocs()
 for b.Loop() { l,err:=c.Bots.Acquire(ctx,btc,"bot",plain); if err!=nil{b.Fatal(err)}; if err:=l.Release(ctx);err!=nil{b.Fatal(err)} }
}
func BenchmarkTmpPing(b *testing.B){
 srv:=testenv.Redis(b)
 c:=open(b,fulloncache.Config{URL:srv.URL()})
 ctx:=testenv.Context(b)
 b.ReportAllocs()
 for b.Loop() { c.Base.Ping(ctx) }
}
