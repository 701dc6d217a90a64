;;; The recipe of docs/editors.md in the real Emacs.  Run by `emacs -Q --batch -l scenario.el`.

(dolist (directory (file-expand-wildcards "/usr/share/emacs/site-lisp/elpa-src/*"))
  (add-to-list 'load-path directory))
(require 'cl-lib)
(require 'eglot)

(defvar shop (getenv "SHOP"))
(defvar asked nil "What `completing-read' was asked, the last first.")
(defvar choice nil "What to answer.")

(defun fail (what)
  (message "FAIL %s" what)
  (kill-emacs 1))

(defun wait-until (what predicate)
  "Return the value of PREDICATE once it is not nil."
  (let ((end (+ (float-time) 60)) value)
    (while (not (setq value (funcall predicate)))
      (when (> (float-time) end) (fail (concat "waited in vain: " what)))
      (accept-process-output nil 0.02))
    value))

(defun orch (&rest arguments)
  "Run `orch' as a person at a terminal does, and return what it prints."
  (with-temp-buffer
    (unless (zerop (apply #'call-process "orch" nil t nil arguments))
      (fail (format "orch %S: %s" arguments (buffer-string))))
    (buffer-string)))

(defun state-of (id)
  (gethash "state" (json-parse-string (orch "sessions" "show" id "--json"))))

;; The user answers every question by the option that `choice' names.
(defun answer (prompt collection &rest _)
  (push (cons prompt collection) asked)
  (cl-find-if (lambda (item) (string-prefix-p choice item))
              (mapcar (lambda (item) (if (consp item) (car item) item)) collection)))
(advice-add 'completing-read :override #'answer)

;; --- the recipe
(load (getenv "RECIPE"))
;; --- its end

(setq eglot-sync-connect 30 eglot-autoshutdown nil)
(find-file (expand-file-name "src/cart.py" shop))
(python-mode)
(apply #'eglot (eglot--guess-contact))
(let* ((server (eglot-current-server)) id)
  (unless server (fail "no server"))

  ;; A command starts a session, and its approval arrives as a message request.
  (setq choice "Allow once")
  (setq id (plist-get (orch-send "demo" "implement" "[[write new.txt hi]] [[approve deploy it]] [[hang]]") :id))
  (wait-until "the approval" (lambda () asked))
  (unless (string-match-p "deploy it" (caar asked)) (fail (format "%S" asked)))
  (wait-until "the answer" (lambda () (string= "running" (state-of id))))
  (message "OK approval")

  ;; window/showDocument opens the worktree's file, a page comes as a real file.
  (orch-open id)
  (wait-until "the file" (lambda () (string-suffix-p (concat id "/new.txt") (or (buffer-file-name) ""))))
  (find-file (expand-file-name "src/cart.py" shop))
  (orch-transcript id)
  (wait-until "the transcript" (lambda () (string-suffix-p "transcript.md" (or (buffer-file-name) ""))))
  (unless (save-excursion (goto-char (point-min)) (search-forward "deploy it" nil t)) (fail "the words"))
  (message "OK documents")

  ;; Stop.
  (find-file (expand-file-name "src/cart.py" shop))
  (orch-stop id)
  (wait-until "the end" (lambda () (string= "stopped" (state-of id))))
  (message "OK stop")

  ;; A code action on a selection starts a session.
  (goto-char (point-min))
  (setq choice "Explain this (demo)" asked nil)
  (let ((before (length (append (plist-get (jsonrpc-request server :orch/session/list '(:limit 100)) :items) nil))))
    (let ((last-nonmenu-event ?\r)) ; as by a key, not the mouse
      (call-interactively #'eglot-code-actions))
    (wait-until "a session by code action"
                (lambda () (> (length (append (plist-get (jsonrpc-request server :orch/session/list '(:limit 100)) :items) nil))
                              before))))
  (wait-until "a notice"
              (lambda () (with-current-buffer "*Messages*"
                           (save-excursion (goto-char (point-min)) (search-forward "in shop completed" nil t)))))
  (message "OK code action")

  (eglot-shutdown server))
(message "OK emacs")
