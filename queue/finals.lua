-- What every script that closes records begins with, below a line that sets FINALS: how many final states
-- a partition's stream keeps (queue.finals; 0: none).
--
-- final(record) notes that nothing of a notification is open any more. publish() adds what was noted to
-- {ns:p}:finals, one entry a partition however many there are: the field r holds the 20 characters of each
-- id, and the entry's own id is the running number of its last one, so that a reader sees what it missed.
-- The stream is made beforehand: one made here, in a slot that is being migrated, could not be merged with the
-- one that is still to come.
-- Nothing of this may fail a transition: what is told here is on record already.
local finals = {}

local function final(record)
  if FINALS == 0 then return end
  local tag = string.sub(record, 1, -23) -- without "n:" and the 20 characters
  local ids = finals[tag]
  if not ids then ids = {}; finals[tag] = ids end
  ids[#ids + 1] = string.sub(record, -20)
end

local function publish()
  for tag, ids in pairs(finals) do
    local key = tag .. 'finals'
    local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
    local last = #ids
    if newest[1] then last = last + tonumber(string.match(newest[1][1], '^%d+')) end
    redis.pcall('XADD', key, 'NOMKSTREAM', 'MINID', '~', string.format('%.0f', math.max(last - FINALS, 0)),
      string.format('%.0f-0', last), 'r', table.concat(ids))
  end
end

