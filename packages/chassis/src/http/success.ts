import type { Success } from '@zerda/contracts/protocol/envelope';

/** The body of a successful answer: `{"status":"success","data":…}`. */
export function success<const Data>(data: Data): Success<Data> {
  return { status: 'success', data };
}
