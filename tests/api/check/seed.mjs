// The platform's own snippets, as its documentation has them, run with fetch against payoutd. Only
// the address, the token, the org and the ids are put in.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';

const [base, secret] = process.argv.slice(2);
const orgid = 'my-org';

function token(sub, roles) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { sub, orgid, roles, exp: Math.floor(Date.now() / 1000) + 600 };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

const platform = globalThis.fetch;
const fetch = (path, options) => platform(base + path, options);

let jwt = token('alex', ['partner']);

// --- Earnings
const dashboard = await fetch('/client/affiliate/me', {
  headers: { orgid: 'my-org', Authorization: `Bearer ${jwt}` },
}).then(r => r.json());

assert.equal(dashboard.programs.length, 1);
const [enrolment] = dashboard.programs;
assert.equal(enrolment.program, 'creator');
assert.equal(enrolment.affiliateId, 'alex-affiliate-id');
assert.equal(enrolment.code, 'ALEX-2K9');
assert.deepEqual(enrolment.stats, {
  totalReferrals: 3,
  totalConversions: 3,
  totalCommission: 1240.5,
  pendingCommission: 240.5,
  availableForPayout: 1000,
  paidCommission: 0,
});

const earnings = await fetch('/client/affiliate/me/earnings?program=creator', {
  headers: { orgid: 'my-org', Authorization: `Bearer ${jwt}` },
}).then(r => r.json());
assert.equal(earnings.data.length, 3);
assert.deepEqual(
  [...new Set(earnings.data.map(e => `${e.status}/${e.commissionStatus}`))].sort(),
  ['commission_held/held', 'qualified/credited'],
);

// --- Requesting a payout
const requested = await fetch('/finance/payouts/request', {
  method: 'POST',
  headers: {
    orgid: 'my-org',
    Authorization: `Bearer ${jwt}`,
    'Content-Type': 'application/json',
  },
  body: JSON.stringify({
    amount: 250,
    currency: 'USD',
    method: 'paypal', // 'paypal' | 'ach' | 'wire' | 'stripe-connect'
    destination: { email: 'alex@example.com' },
    source: {
      type: 'affiliate',
      affiliateId: 'alex-affiliate-id',
      program: 'creator',
    },
    note: 'Q1 commission',
  }),
});
assert.equal(requested.status, 201);
const payout = await requested.json();
assert.equal(payout.status, 'pending');
assert.equal(payout.amount, 250);

const after = await fetch('/client/affiliate/me', {
  headers: { orgid: 'my-org', Authorization: `Bearer ${jwt}` },
}).then(r => r.json());
assert.equal(after.programs[0].stats.availableForPayout, 750);

// --- Listing payouts
const myId = 'alex-affiliate-id';
// Partner — their own payouts
const mine = await fetch('/finance/payouts?source.affiliateId=' + myId, {
  headers: { orgid: 'my-org', Authorization: `Bearer ${jwt}` },
}).then(r => r.json());
assert.deepEqual(mine.data.map(p => p.payoutId), [payout.payoutId]);

jwt = token('sam', ['staff']);
// Staff — all payouts
const all = await fetch('/finance/payouts?status=pending', {
  headers: { orgid: 'my-org', Authorization: `Bearer ${jwt}` },
}).then(r => r.json());
assert.deepEqual(all.data.map(p => p.payoutId), [payout.payoutId]);

// --- Payment method setup
jwt = token('alex', ['partner']);
const methods = await fetch('/client/finance/payment-methods', {
  headers: { orgid: 'my-org', Authorization: `Bearer ${jwt}` },
}).then(r => r.json());
assert.equal(methods.data.length, 1);

// --- Auto-credit: nothing is due yet
jwt = token('sam', ['staff']);
const processed = await fetch('/affiliate/commissions/process-held', {
  method: 'POST',
  headers: { orgid: 'my-org', Authorization: `Bearer ${jwt}` },
}).then(r => r.json());
assert.equal(processed.processed, 0);
assert.equal(processed.totalCredited, 0);

// --- What a partner's token does not open
jwt = token('alex', ['partner']);
const admin = await fetch('/affiliate/commissions/process-held', {
  method: 'POST',
  headers: { orgid: 'my-org', Authorization: `Bearer ${jwt}` },
});
assert.equal(admin.status, 403);
console.log('  the platform\'s snippets: OK');
