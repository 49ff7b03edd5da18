-- Erases people from the records of one partition: their names, their addresses' hints, and the words and
-- ids of their providers, which may tell of them too. What was decided, when, and by which code stays.
-- KEYS     records, theirs or not
-- ARGV     who: "<tenant>\t<user>" of each, as a record's head spells it
-- Returns  for each record that was theirs: its index among KEYS, what it says now, and who it was of.
local who, out = {}, {}
for _, person in ipairs(ARGV) do who[person] = true end

local function wordless(decision, rest)
  return '\n' .. decision .. '\t\t' .. (string.match(rest, '^[^\t]*\t[^\t]*(\t.*)$') or '')
end

for i, key in ipairs(KEYS) do
  -- A head that is longer than this is of no person that could have been stored.
  local person = string.match(redis.call('GETRANGE', key, 0, 1023), '^%d%d%dA\t[^\t\n]*\t([^\t\n]*\t[^\t\n]*)')
  if person and who[person] then
    local text = redis.call('GET', key)
    text = string.gsub(text, '^(%d%d%dA\t[^\t\n]*\t[^\t\n]*\t)[^\t\n]*', '%1erased')
    text = string.gsub(text, '\n(P\t[^\t\n]*\t[^\t\n]*\t[^\t\n]*\t)[^\n]*', '\n%1erased')
    text = string.gsub(text, '\n(%l\t[^\t\n]*\t[^\t\n]*\t[^\t\n]*\t[^\t\n]*)\t([^\n]*)', wordless)
    redis.call('SET', key, text, 'KEEPTTL')
    out[#out + 1] = {i, text, person}
  end
end
return out
