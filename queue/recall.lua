-- Has what is parked under some labels come back sooner, each label's one by one, in the order in which it
-- would have. Nothing comes later than it would have, so doing it twice changes next to nothing.
-- KEYS[1]  parked ids by due time, that wait for their provider (zset); a label is the fraction of a score
-- ARGV[1]  how many of them were looked at before
-- ARGV[2]  the most to look at
-- ARGV[3]  how many labels there are
-- ARGV[4..] for each label: the label, when its next is due in unix ms, and the ms between two
-- Returns  {how many were looked at, then of each label when its next is due, as ARGV[4..] wants it}
-- What comes sooner moves towards the beginning, past what was looked at, so no page misses any.
local labels, every, due = {}, {}, {}
local a = 4
for i = 1, tonumber(ARGV[3]) do
  labels[i] = tonumber(ARGV[a])
  due[labels[i]], every[labels[i]] = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  a = a + 3
end
local first = tonumber(ARGV[1])
local found = redis.call('ZRANGE', KEYS[1], first, first + tonumber(ARGV[2]) - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  local score = tonumber(found[i + 1])
  local label = math.floor((score - math.floor(score)) * 1024 + 0.5)
  local sooner = due[label]
  if sooner then
    if math.floor(sooner) < math.floor(score) then
      redis.call('ZADD', KEYS[1], 'XX', string.format('%.17g', math.floor(sooner) + label / 1024), found[i])
    end
    due[label] = sooner + every[label]
  end
end
local out = {#found / 2}
for i, label in ipairs(labels) do out[i + 1] = string.format('%.17g', due[label]) end
return out
