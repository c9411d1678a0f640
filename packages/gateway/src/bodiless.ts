/**
 * Whether the head of a response with this final status to a GET is all of it, whatever its headers say (RFC 9112, section 6.3): what goes
 * wrong after it goes wrong after the response.
 */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304;
}
