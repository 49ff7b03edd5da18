-- Puts what is due back on its stream.
-- KEYS[1]  parked ids by due time, whose moment was chosen beforehand (zset)
-- KEYS[2]  parked payloads (hash)
-- KEYS[3]  parked ids by due time, that wait for their provider (zset)
-- KEYS[4]  how many of the latter each turn has (hash)
-- ARGV[1]  what is due before this is due: (the next unix ms, since a due time may have a fraction that says
--          what it may be called back by
-- ARGV[2]  the most to promote of either kind
-- ARGV[3]  the partition's tag, which every stream's key begins with
-- Returns  {how many were promoted, when the next is due in unix ms (-1: none), then a stream's name without its
--          tag and how many went there, of each}
-- Only a stream that is there gets its entry. In a slot that is being migrated it may have gone ahead, or may
-- still be to come: an error would leave the entries before it both parked and on their streams, and a
-- stream made here could not be merged with the one that is still to come.
-- What comes back takes no more memory than it had, so it must come back when the server's is full: such a
-- server refuses what may need memory only as a script's first write, so a harmless one goes first.
local promoted, to = 0, {}

local function turn(suffix) return string.match(suffix, ':(%d+)$') or '0' end

local function promote(ids)
  local done, turns = {}, {}
  local due = redis.call('ZRANGEBYSCORE', ids, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
  if #due > 0 then redis.call('HDEL', KEYS[2], '') end
  for _, id in ipairs(due) do
    local parked = redis.call('HGET', KEYS[2], id)
    if parked then
      local cut = string.find(parked, '\n', 1, true)
      local suffix = string.sub(parked, 1, cut - 1)
      local stream = ARGV[3] .. suffix
      if redis.pcall('EXISTS', stream) == 1 then
        redis.call('XADD', stream, '*', 'd', string.sub(parked, cut + 1))
        done[#done + 1] = id
        to[suffix] = (to[suffix] or 0) + 1
        turns[turn(suffix)] = (turns[turn(suffix)] or 0) + 1
      end
    else
      done[#done + 1] = id
    end
  end
  if #done > 0 then
    redis.call('HDEL', KEYS[2], unpack(done))
    redis.call('ZREM', ids, unpack(done))
    promoted = promoted + #done
  end
  return turns
end

promote(KEYS[1])
-- Nothing may fail from here on, though a key may be gone with its last member.
for of, n in pairs(promote(KEYS[3])) do redis.pcall('HINCRBY', KEYS[4], of, -n) end
local next = -1
for _, ids in ipairs({KEYS[1], KEYS[3]}) do
  local first = redis.pcall('ZRANGE', ids, 0, 0, 'WITHSCORES')
  local at = first[2] and tonumber(first[2])
  if at and (next < 0 or at < next) then next = at end
  if ids == KEYS[3] and not first[1] and not first.err then redis.pcall('DEL', KEYS[4]) end -- were it ever wrong, it is right again
end
local out = {promoted, next}
for suffix, n in pairs(to) do
  out[#out + 1] = suffix
  out[#out + 1] = n
end
return out
