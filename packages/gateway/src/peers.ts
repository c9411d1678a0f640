import type { BlockList, Socket } from 'node:net';
import { isTrusted, plainAddress } from '@zerda/chassis/http/client-address';

/** The other end of a connection. */
export interface Peer {
  /** Its address; `unknown` once the connection is gone. */
  readonly address: string;
  /** It is a proxy whose word about the hops before it is believed. */
  readonly believed: boolean;
  /** The host it asked for last, and its hop with that: both seldom change on a connection. */
  host: string | undefined;
  hop: string | undefined;
}

/** Tells who is at the other end; what is known of a connection does not change with its requests. */
export type Peers = (socket: Socket) => Peer;

/** @param trusted proxies whose word is believed; none by default */
export function createPeers(trusted?: BlockList): Peers {
  const known = new WeakMap<Socket, Peer>();
  return (socket) => {
    const found = known.get(socket);
    if (found !== undefined) return found;
    const address = plainAddress(socket.remoteAddress ?? 'unknown');
    const believed = isTrusted(trusted, address);
    const peer: Peer = { address, believed, host: undefined, hop: undefined };
    known.set(socket, peer);
    return peer;
  };
}
