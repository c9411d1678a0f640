import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Failure } from '@zerda/chassis/failure';
import { newPassword } from '@zerda/contracts/user-service/passwords';
import { requireUncommon } from './password-rules.ts';

const owner = { email: 'grace.hopper@navy.example', name: 'Grace Hopper' };

function isRejected(password: string): boolean {
  try {
    requireUncommon(password, owner);
    return false;
  } catch (error) {
    assert.ok(error instanceof Failure && error.code === 'validation-failed');
    assert.equal(error.errors?.[0]?.path, 'password');
    return true;
  }
}

describe('a password', () => {
  it('is rejected when it is common, also with added characters or digits for letters', () => {
    for (const password of [
      ...[
        'password',
        'PASSWORD',
        'Password1',
        'password123',
        'p@ssw0rd',
        'P@$$w0rd!!',
        '123password',
        'pass word',
      ],
      ...['12345678', '123456789', '1234567890', '87654321', '0987654321', 'abcdefgh', 'hgfedcba'],
      ...['qwertyui', 'qwertyuiop', 'asdfghjkl', '1qaz2wsx', '1q2w3e4r', 'qwerty123', 'azertyuiop'],
      ...['aaaaaaaa', '11111111', 'abababab', '12121212', 'abcabcabc', '11112222', '        '],
      ...[
        'iloveyou',
        'letmein1',
        'welcome1',
        'Sunshine!',
        'football99',
        'monkey2024',
        'dr4gon2020',
        'changeme',
      ],
      ...['administrator', 'Summer2026!', 'zerda2026', 'trustno1', 'pa$$word', 'f00tba11', '5unshine1'],
      ...[
        'qwerty!!!!',
        'rock you',
        'йцукенгш',
        'пароль123',
        'Contraseña2026',
        'paßwordpassword',
        '\u0130LOVEYOU',
      ],
      ...[
        'qwerty\u200b\u200b',
        '\u200b\u200c\u200d\u2060\ufeff\u00ad\u200b\u200c',
        'a\ufe00a\ufe01a\ufe02a\ufe03a\ufe04a',
      ],
      ...['grace.hopper@navy.example', 'gracehopper', 'Grace Hopper', 'Hopper1906', 'Gráce\u200b Höpper'],
    ])
      assert.ok(isRejected(password), password);
  });

  it('is rejected when it has fewer than 8 visible characters after normalization', () => {
    for (const password of [
      'kqz\u200b\u200b\u200b\u200b\u200b',
      'kqzmvw\u2800\u2800\u3164',
      'k\u0301e\u0301o\u0301u\u0301',
      '\u1112\u1161\u11ab\u1100\u1173\u11af\u1109\u1165\u11bc',
    ]) {
      const sent = newPassword.parse(password);
      assert.ok(isRejected(sent), JSON.stringify(password));
    }
  });

  it('is rejected when it is the local part of the e-mail address', () => {
    assert.ok(isRejected('grace.hopper'));
    assert.ok(isRejected('Grace.Hopper1906'));
  });

  it('is accepted when it is not common, with any composition', () => {
    for (const password of [
      ...['correct horse battery staple', 'grace likes compilers', 'my password is long enough', 'xk7vqp2m'],
      ...[
        'ÄÖÜäöüß-lang',
        '密码很长很长很长',
        '🦊🦊🐫🐫🌵🌵🌙🌙',
        'tr0ub4dor&3x',
        'abcdefgx',
        '314159265358979',
        'mandolin48217',
        'किकाकुकेकोकी',
      ],
    ])
      assert.ok(!isRejected(password), password);
  });

  it('has 8 to 128 characters, counted as code points', () => {
    const isAccepted = (text: string) => newPassword.safeParse(text).success;
    assert.deepEqual(['1234567', '12345678', 'x'.repeat(128), 'x'.repeat(129)].map(isAccepted), [
      false,
      true,
      true,
      false,
    ]);
    assert.deepEqual(['🦊'.repeat(7), '🦊'.repeat(8), '🦊'.repeat(128)].map(isAccepted), [false, true, true]);
    assert.equal(isAccepted('\ud83e'.repeat(9)), false);
    assert.equal(newPassword.parse('cafe\u0301 latte'), 'caf\u00e9 latte');
  });
});
