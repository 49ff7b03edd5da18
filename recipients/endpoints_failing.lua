-- Lists the failing endpoints, and forgets those that have not failed lately.
--
-- KEYS[1]  the failing endpoints
-- ARGV     now (ms); how long after its last failure an endpoint is forgotten (ms)
-- Returns  digest, since when (ms), and so on

local all = redis.call('HGETALL', KEYS[1])
local found = {}
for i = 1, #all, 2 do
  local since, last = string.match(all[i + 1], '^(%d+) (%d+)$')
  if since and tonumber(ARGV[1]) - tonumber(last) < tonumber(ARGV[2]) then
    found[#found + 1] = all[i]
    found[#found + 1] = since
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return found
