-- Forgets consumers of one stream that are gone, so that their names do not pile up.
-- KEYS[1]  stream
-- ARGV[1]  consumer group
-- ARGV[2]  the consumer to forget, or '' for all that have been idle long
-- ARGV[3]  how long is long, ms
-- Returns  how many were forgotten. One that still holds a lease is kept: forgetting it would lose the entry.
local gone = 0
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local at = {}
  for i = 1, #c, 2 do at[c[i]] = c[i + 1] end
  local named = ARGV[2] ~= '' and at.name == ARGV[2]
  if at.pending == 0 and (named or ARGV[2] == '' and at.idle > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], at.name)
    gone = gone + 1
  end
end
return gone
