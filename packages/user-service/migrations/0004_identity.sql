-- Passwords, apart from users so that no query of users has them. Without a row the user cannot log in.
create table credentials (
  user_id integer primary key references users on delete cascade,
  -- argon2id in the PHC string format.
  password_hash text not null,
  changed_at timestamptz(3) not null default now()
);

-- One row for each login that can still be gone on with; ending a session deletes it. Both parts of a refresh token are here as
-- SHA-256 only: the one that stays through all refreshes, and the one that each refresh replaces.
create table sessions (
  family_hash text primary key,
  user_id integer not null references users on delete cascade,
  token_hash text not null,
  -- The part before, which a client that missed the answer sends once more.
  previous_hash text,
  rotated_at timestamptz(3) not null default now(),
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null
) with (fillfactor = 80);
create index sessions_user_id on sessions (user_id, created_at);
create index sessions_expires_at on sessions (expires_at);

-- Keys that access tokens are signed with. Two at most: the one in use, and the one before or after it.
create table signing_keys (
  kid text primary key,
  -- JWK (RFC 7517).
  public_key json not null,
  -- PKCS #8, encrypted under a secret that is not in the database.
  private_key text not null,
  created_at timestamptz(3) not null default now(),
  -- It is published before it signs, and still published after another one does.
  signs_from timestamptz(3) not null,
  ends_at timestamptz(3)
);

-- Attempts to log in, as a level that every attempt raises by one and that falls with time. Whose they are is not told by the key.
create table login_attempts (
  key text primary key,
  level double precision not null,
  at timestamptz(3) not null
) with (fillfactor = 70);
create index login_attempts_at on login_attempts (at);

-- Addresses that a user has logged in from, keyed as above.
create table known_addresses (
  user_id integer not null references users on delete cascade,
  address text not null,
  last_at timestamptz(3) not null,
  primary key (user_id, address)
);
create index known_addresses_last_at on known_addresses (last_at);
