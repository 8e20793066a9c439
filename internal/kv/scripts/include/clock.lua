-- now is the server's time in microseconds since 1970, exact in a Lua number.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
