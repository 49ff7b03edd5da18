-- Notes that an endpoint failed.
--
-- KEYS[1]  the failing endpoints
-- ARGV     the endpoint's digest; now (ms); how long after its last failure an
--          endpoint is forgotten (ms); the most endpoints that are remembered
-- Returns  since when it does nothing but fail (ms): now when it is not
--          remembered, for want of room or since this is the first failure

local id, now, gap, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local first = now
local known = redis.call('HGET', KEYS[1], id)
if known then
  local since, last = string.match(known, '^(%d+) (%d+)$')
  if since and now - tonumber(last) < gap then first = tonumber(since) end
elseif redis.call('HLEN', KEYS[1]) >= most then
  return now
end
redis.call('HSET', KEYS[1], id, string.format('%.0f %.0f', first, now))
redis.call('PEXPIRE', KEYS[1], gap)
return first
