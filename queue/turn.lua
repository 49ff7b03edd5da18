-- Gives tenants their turns, in the order in which they are first seen.
-- KEYS[1]   what is kept of the whole queue (hash): turn:<tenant> → its turn, tenants → how many have one
-- ARGV[1]   how many turns there are
-- ARGV[2]   the most tenants that are remembered
-- ARGV[3..] tenants
-- Returns   for each tenant its turn; -1 when it has none and no more are remembered.
local out = {}
for a = 3, #ARGV do
  local field = 'turn:' .. ARGV[a]
  local turn = tonumber(redis.call('HGET', KEYS[1], field) or nil)
  if not turn then
    local seen = tonumber(redis.call('HGET', KEYS[1], 'tenants') or nil) or 0
    turn = -1
    if seen < tonumber(ARGV[2]) then
      turn = seen % tonumber(ARGV[1])
      redis.call('HSET', KEYS[1], field, turn, 'tenants', seen + 1)
    end
  end
  out[#out + 1] = turn
end
return out
