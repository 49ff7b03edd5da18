-- Renews the leases that this consumer still holds.
-- KEYS[1]   stream
-- ARGV[1]   consumer group
-- ARGV[2]   consumer
-- ARGV[3..] entry ids
-- Returns   for each entry 1 when it is still held, else 0.
local out = {}
for i = 3, #ARGV do
  -- XCLAIM alone would take back what another consumer has rightly taken over. Without its group
  -- nobody holds anything, and that is for the readers to mend.
  local mine = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  local held = not mine.err and #mine > 0
  if held then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
  out[#out + 1] = held and 1 or 0
end
return out
