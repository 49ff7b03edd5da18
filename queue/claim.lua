-- Claims an idempotency key for an id.
-- KEYS[1]  the idempotency entry
-- ARGV[1]  "<digest>:<id>" to store when the key is new
-- ARGV[2]  how long it is kept, ms
-- Returns  what is stored now: ARGV[1], or what came first.
local first = redis.call('GET', KEYS[1])
if first then
  return first
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
