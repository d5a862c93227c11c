-- Removes what an interrupted rebuild left.
-- KEYS: 1 users · 2 hotels · 3 advertisers, all rebuilt · 4 what the keys of hotels' offers begin with
for first = 0, redis.call('ZCARD', KEYS[2]) - 1, 1000 do
  for _, hotel in ipairs(redis.call('ZRANGE', KEYS[2], first, first + 999)) do
    redis.call('UNLINK', KEYS[4] .. hotel)
  end
end
return redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
