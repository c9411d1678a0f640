/** Command lines, verbatim from the specification. */
export const lines = {
  createUser: `curl -X POST http://localhost:8000/api/users \\
  -H "Content-Type: application/json" \\
  -d '{"name": "John Doe", "email": "john@example.com"}'`,
  listUsers: 'curl http://localhost:8000/api/users',
  placeOrder: `curl -X POST http://localhost:8000/api/orders \\
  -H "Content-Type: application/json" \\
  -d '{
    "user_id": 1,
    "product": "Laptop",
    "quantity": 1,
    "total": 999.99
  }'`,
  profile: 'curl http://localhost:8000/api/users/1/profile',
  dashboard: 'curl http://localhost:8000/api/dashboard',
  health: 'curl http://localhost:8000/api/health',
};
