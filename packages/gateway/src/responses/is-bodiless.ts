/**
 * Returns whether a GET response with this final status has no body, whatever its headers say (RFC 9112, section 6.3).
 * Errors after its head do not affect the response.
 */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304;
}
