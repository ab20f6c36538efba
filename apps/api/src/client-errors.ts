import { STATUS_CODES, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { HttpError, problemOf } from './problem.js';
import { uri_length_max } from './request-checks.js';

/** Answers in problem+json what Node's parser refuses before there is a request: too large, too slow, not HTTP. */
export function answerClientErrors(server: Server): void {
  // Node would answer a missing Host with an empty body; the application answers it with a problem.
  Object.assign(server, { requireHostHeader: false });
  server.on('clientError', (error: ParserError, socket: Duplex) => {
    // A socket that was reset, or has begun its answer already, cannot be told anything.
    if (error.code === 'ECONNRESET' || !socket.writable || hasAnswered(socket)) {
      socket.destroy();
      return;
    }
    const answer = problemOf(parserProblem(error), '/');
    if (answer === null) throw new Error('A parser error has its problem.', { cause: error });
    const { status } = answer.problem;
    const body = JSON.stringify(answer.problem);
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n` +
        'Content-Type: application/problem+json\r\n' +
        `Content-Length: ${Buffer.byteLength(body)}\r\n` +
        `Connection: close\r\n\r\n${body}`,
    );
  });
}

interface ParserError extends Error {
  readonly code?: string;
  /** The bytes that the parser was given last. */
  readonly rawPacket?: Buffer;
}

/** Node keeps the answer that is being written on the socket. */
function hasAnswered(socket: Duplex): boolean {
  const { _httpMessage: message } = socket as { _httpMessage?: { headersSent: boolean } | null };
  return message?.headersSent === true;
}

function parserProblem(error: ParserError): HttpError {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return isLongTarget(error.rawPacket)
        ? new HttpError('URI_TOO_LONG', `The request target is longer than ${uri_length_max} characters.`)
        : new HttpError(
            'HEADERS_TOO_LARGE',
            'The headers are larger than 16 KiB. Send fewer or shorter ones.',
          );
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new HttpError('REQUEST_TIMEOUT', 'The request did not arrive in time. Send it again.');
    default:
      return new HttpError('MALFORMED_REQUEST', 'This is not an HTTP/1.1 request that HXO can read.');
  }
}

/** Did the parser stop in a request line? It counts that line and the headers together. */
function isLongTarget(packet: Buffer | undefined): boolean {
  const start = packet?.subarray(0, uri_length_max).toString('latin1') ?? '';
  return /^[A-Z]+ \S*$/.test(start) && start.length === uri_length_max;
}
