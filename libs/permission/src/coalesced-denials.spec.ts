import { Logger } from '@nestjs/common';
import { CoalescedDenials } from './coalesced-denials.js';
import type { Denial } from './denial.js';

class Book extends CoalescedDenials {
  readonly written: string[] = [];
  broken = false;
  protected override async write({ role, method, route }: Denial, count: number): Promise<void> {
    await Promise.resolve();
    if (this.broken) throw new Error('The store is locked.');
    this.written.push(`${role} ${method} ${route} ${count}`);
  }
}

const denial = (route: string, role: Denial['role'] = 'captain'): Denial => ({
  ...{ role, method: 'GET', route },
  reason: 'No.',
});

let book: Book;
beforeAll(() => void Logger.overrideLogger(false));
afterAll(() => void Logger.overrideLogger(['log', 'error', 'warn']));
beforeEach(() => void (book = new Book()));
afterEach(() => book.onApplicationShutdown());

describe('CoalescedDenials', () => {
  it('writes the first of each kind at once, and one entry for all that are equal to it', async () => {
    await book.recordDenial(denial('/a'));
    expect(book.written).toEqual(['captain GET /a 1']);
    for (let i = 0; i < 1_000; i++) await book.recordDenial(denial('/a'));
    await book.recordDenial(denial('/a', 'anonymous'));
    expect(book.written.splice(0)).toEqual(['captain GET /a 1', 'anonymous GET /a 1']);
    await book.flush();
    expect(book.written.splice(0)).toEqual(['captain GET /a 1000']);
  });

  it('goes on counting what goes on, and begins anew with what had ended', async () => {
    await book.recordDenial(denial('/a'));
    await book.recordDenial(denial('/a'));
    await book.flush();
    await book.recordDenial(denial('/a'));
    expect(book.written.splice(0)).toEqual(['captain GET /a 1', 'captain GET /a 1']);
    await book.flush();
    await book.flush();
    await book.recordDenial(denial('/a'));
    expect(book.written).toEqual(['captain GET /a 1', 'captain GET /a 1']);
  });

  it('does not let callers make up ever more kinds', async () => {
    for (let i = 0; i < 5_000; i++) await book.recordDenial(denial(`/${i}`));
    await book.flush();
    expect(book.written).toHaveLength(102);
    expect(book.written.slice(-2)).toEqual(['captain * * 1', 'captain * * 4899']);
  });

  it('loses no count to a store that cannot be written', async () => {
    book.broken = true;
    await expect(book.recordDenial(denial('/a'))).rejects.toThrow('locked');
    await book.recordDenial(denial('/a'));
    await book.flush();
    book.broken = false;
    await book.recordDenial(denial('/a'));
    await book.flush();
    expect(book.written).toEqual(['captain GET /a 3']);
  });

  it('writes what it has counted when the application ends', async () => {
    await book.recordDenial(denial('/a'));
    await book.recordDenial(denial('/a'));
    await book.onApplicationShutdown();
    expect(book.written).toEqual(['captain GET /a 1', 'captain GET /a 1']);
  });
});
