-- Closes what a delivery carries, and reads it. A digest is closed once; one that was closed to be handed on
-- gets its template's version from whoever sends it first.
-- KEYS[1]  the digest (list), see digest.go
-- ARGV[1]  its carrier
-- ARGV[2]  now, unix ms
-- ARGV[3]  the version of its template; empty: it is not known
-- ARGV[4]  for how long it is kept, ms
-- Returns  the list; nothing when there is none.
local head = redis.call('LINDEX', KEYS[1], 0)
if not head then return {} end
redis.call('PEXPIRE', KEYS[1], ARGV[4]) -- first: a server that is full refuses what may need memory as a first write
local bytes, more, closed, version, pointer = string.match(head, '^(%d+) (%d+) (%d+) (%S*) (.*)$')
if closed == '0' then
  redis.call('LSET', KEYS[1], 0, table.concat({bytes, more, ARGV[2], ARGV[3], pointer}, ' '))
  local open = string.match(KEYS[1], '^{.-}:') .. pointer
  if redis.call('GET', open) == ARGV[1] then redis.call('DEL', open) end
  local persons = string.gsub(open, ':digesting:(.-)%..*$', ':digests:%1')
  if persons ~= open then redis.call('SREM', persons, ARGV[1]) end -- an older release's pointer names no person
elseif version == '' and ARGV[3] ~= '' then
  redis.call('LSET', KEYS[1], 0, table.concat({bytes, more, closed, ARGV[3], pointer}, ' '))
end
return redis.call('LRANGE', KEYS[1], 0, -1)
