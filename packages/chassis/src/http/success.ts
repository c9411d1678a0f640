import type { Success } from '@zerda/contracts/protocol/envelope';

/** Returns the body of a successful response: `{"status":"success","data":…}`. */
export function success<const Data>(data: Data): Success<Data> {
  return { status: 'success', data };
}
